-- Arithmetic and comparisons of decimals.

CREATE TABLE decimals_source (
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

INSERT INTO iceberg_data_lake.ours_decimals.events
SELECT
  transaction_value + 0.005 AS plus_half_a_cent,
  transaction_value - 100 AS minus_hundred,
  transaction_value * 1.19 AS with_tax,
  transaction_value * transaction_value AS squared,
  transaction_value * 3 AS threefold,
  -transaction_value AS negative,
  ABS(transaction_value - 100) AS distance,
  transaction_value + kafka_partition AS plus_partition,
  transaction_value - kafka_offset AS minus_offset,
  CAST(transaction_value * 0.19 AS DECIMAL(14, 2)) AS tax_rounded,
  transaction_value + transaction_value * 0.5 - 1.25 AS composed,
  transaction_value = 50 AS is_fifty,
  transaction_value >= 49.995 AS about_fifty,
  transaction_value < 99.999 AS below_hundred,
  transaction_value > kafka_partition AS over_partition,
  transaction_value <> 19.99 AS another_price,
  transaction_value > 50e0 AS over_fifty_as_double,
  12.340 AS constant,
  kafka_partition,
  kafka_offset
FROM decimals_source
WHERE transaction_value * 2 > 99.99 AND transaction_value - 1000 < 0;
