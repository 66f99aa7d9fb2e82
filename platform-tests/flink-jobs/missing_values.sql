-- COALESCE, NULLIF, IF, and the tests for NULL.

CREATE TABLE missing_values_source (
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

INSERT INTO iceberg_data_lake.ours_missing_values.events
SELECT
  COALESCE(product_id, 'none') AS product,
  COALESCE(transaction_value, 0) AS revenue,
  COALESCE(customer_latitude, customer_longitude, 0e0) AS coordinate,
  COALESCE(product_id, source_url, customer_id) AS label,
  NULLIF(client_platform, 'web') AS not_web,
  NULLIF(kafka_partition, 0) AS not_first,
  IF(transaction_value > 50, 'over', 'under or unknown') AS over_50,
  IF(product_id IS NULL, 0, 1) AS with_product,
  transaction_value IS NULL AS no_value,
  product_id IS NOT NULL AS has_product,
  product_id IS DISTINCT FROM 'p00001' AS another,
  NULLIF(client_platform, 'ios') IS NOT DISTINCT FROM NULL AS is_ios,
  kafka_partition,
  kafka_offset
FROM missing_values_source
WHERE COALESCE(transaction_value, 100) > 50 AND (product_id IS NULL OR customer_latitude IS NOT NULL);
