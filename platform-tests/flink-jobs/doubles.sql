-- Arithmetic and comparisons of doubles.

CREATE TABLE doubles_source (
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

INSERT INTO iceberg_data_lake.ours_doubles.events
SELECT
  customer_latitude,
  customer_latitude + customer_longitude AS added,
  customer_latitude - 0.1e0 AS subtracted,
  customer_latitude * 111.32 AS kilometres,
  customer_longitude * kafka_partition AS by_partition,
  customer_longitude / 3 AS a_third,
  -customer_latitude AS mirrored,
  ABS(customer_longitude) AS from_zero,
  customer_latitude + CAST(transaction_value AS DOUBLE) AS odd_sum,
  customer_latitude > customer_longitude AS north_of_east,
  customer_latitude = 48.137154 AS exactly_there,
  customer_longitude >= 0 AS eastern,
  customer_longitude <> 0e0 AS not_zero,
  1e-3 AS thousandth,
  kafka_partition,
  kafka_offset
FROM doubles_source
WHERE customer_latitude IS NOT NULL AND customer_longitude < 100e0;
