-- Every conversion of the subset.

CREATE TABLE casts_source (
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

INSERT INTO iceberg_data_lake.ours_casts.events
SELECT
  CAST(kafka_partition AS BIGINT) AS int_to_bigint,
  CAST(kafka_partition AS DOUBLE) AS int_to_double,
  CAST(kafka_partition AS DECIMAL(12, 2)) AS int_to_decimal,
  CAST(kafka_partition AS STRING) AS int_to_text,
  CAST(kafka_offset AS DOUBLE) AS bigint_to_double,
  CAST(kafka_offset AS DECIMAL(20, 0)) AS bigint_to_decimal,
  CAST(kafka_offset AS STRING) AS bigint_to_text,
  CAST(transaction_value AS DECIMAL(12, 1)) AS rounded,
  CAST(-transaction_value AS DECIMAL(13, 0)) AS rounded_below_zero,
  CAST(transaction_value AS DECIMAL(20, 4)) AS widened,
  CAST(transaction_value AS BIGINT) AS cut_off,
  CAST(-transaction_value AS BIGINT) AS cut_off_below_zero,
  CAST(CAST(transaction_value AS DECIMAL(12, 0)) AS BIGINT) AS rounded_then_whole,
  CAST(transaction_value AS DOUBLE) AS decimal_to_double,
  CAST(transaction_value AS STRING) AS decimal_to_text,
  TRY_CAST(transaction_value AS DECIMAL(4, 2)) AS may_not_fit,
  TRY_CAST(transaction_value AS DECIMAL(2, 0)) AS fits_seldom,
  TRY_CAST(kafka_offset AS DECIMAL(3, 0)) AS small_offsets,
  TRY_CAST(kafka_partition AS DECIMAL(2, 1)) AS partition_with_point,
  CAST(TRY_CAST(transaction_value AS DECIMAL(6, 2)) AS INT) AS decimal_to_int,
  CAST(NULL AS STRING) AS no_text,
  CAST(NULL AS DECIMAL(5, 2)) AS no_number,
  kafka_partition,
  kafka_offset
FROM casts_source
WHERE transaction_value IS NOT NULL OR kafka_partition = 1;
