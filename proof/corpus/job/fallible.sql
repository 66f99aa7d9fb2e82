CREATE TABLE t (a STRING NOT NULL, b STRING, n BIGINT, i INT, d DECIMAL(12, 2), f DOUBLE, g FLOAT, ts TIMESTAMP_LTZ(3), local TIMESTAMP(6), day_of DATE, flag BOOLEAN, p INT NOT NULL METADATA FROM 'partition' VIRTUAL) WITH ('connector' = 'kafka', 'topic' = 't', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
INSERT INTO c.n.s SELECT 10 / i AS q FROM t WHERE i <> 0 AND 10 / i > 1
