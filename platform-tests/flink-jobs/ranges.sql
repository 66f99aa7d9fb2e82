-- IN and BETWEEN, with NOT and with NULLs.

CREATE TABLE ranges_source (
  unique_event_id    STRING NOT NULL,
  customer_id        STRING NOT NULL,
  session_guid       STRING NOT NULL,
  activity_type      STRING NOT NULL,
  source_url         STRING NOT NULL,
  client_platform    STRING NOT NULL,
  event_ts_utc       TIMESTAMP_LTZ(3) NOT NULL,
  customer_latitude  DOUBLE,
  customer_longitude DOUBLE,
  product_id         STRING,
  transaction_value  DECIMAL(12, 2),
  kafka_partition    INT NOT NULL METADATA FROM 'partition' VIRTUAL,
  kafka_offset       BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL
) WITH (
  'connector' = 'kafka',
  'topic' = 'user-activity-stream',
  'properties.bootstrap.servers' = 'streaming-server:19092',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601'
);

INSERT INTO iceberg_data_lake.ours_ranges.events
SELECT
  activity_type IN ('add_to_cart', 'checkout_initiation') AS in_cart,
  client_platform NOT IN ('ios', 'android') AS no_app,
  product_id IN ('p00001', 'p00002', 'p00003') AS top_product,
  transaction_value IN (19.99, 49.99, 50) AS round_price,
  kafka_partition IN (0, 2, 4) AS even_partition,
  kafka_offset NOT IN (0, 1, 2, 3) AS not_the_first,
  transaction_value BETWEEN 50 AND 100.5 AS middle_price,
  transaction_value NOT BETWEEN 50 AND 100 AS outer_price,
  customer_latitude BETWEEN -23.5 AND 23.5 AS tropics,
  kafka_offset BETWEEN 100 AND 2000 AS early,
  client_platform BETWEEN 'a' AND 'm' AS first_letters,
  event_ts_utc BETWEEN CAST(TIMESTAMP '2020-01-01 00:00:00' AS TIMESTAMP_LTZ(3))
                   AND CAST(TIMESTAMP '2099-12-31 23:59:59.999' AS TIMESTAMP_LTZ(3)) AS this_century,
  kafka_partition,
  kafka_offset
FROM ranges_source
WHERE activity_type IN ('purchase', 'add_to_cart') AND kafka_partition BETWEEN 1 AND 4;
