-- Conditions inside conditions, with NULL as a third value.

CREATE TABLE conditions_source (
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

INSERT INTO iceberg_data_lake.ours_conditions.events
SELECT
  transaction_value > 50 AND product_id = 'p00001' AS both_hold,
  transaction_value > 50 OR product_id = 'p00001' AS one_holds,
  NOT (transaction_value > 50) AS not_over,
  NOT (transaction_value > 50 AND customer_latitude > 0) AS not_both,
  (transaction_value > 50) IS TRUE AS surely_over,
  (transaction_value > 50) IS NOT TRUE AS not_surely_over,
  (transaction_value > 50) IS FALSE AS surely_not_over,
  (transaction_value > 50) IS UNKNOWN AS unknown_value,
  (transaction_value > 50) IS NOT UNKNOWN AS known_value,
  (customer_latitude > 0) IS DISTINCT FROM (customer_longitude > 0) AS differ,
  activity_type = 'purchase' AND (client_platform = 'ios' OR client_platform = 'android')
    AND NOT (source_url LIKE '%newsletter%' OR product_id IS NULL) AS app_purchase,
  TRUE AS always,
  CAST(NULL AS BOOLEAN) AS never_known,
  kafka_partition,
  kafka_offset
FROM conditions_source
WHERE ((activity_type = 'purchase' OR activity_type = 'add_to_cart') AND NOT (client_platform = 'web' AND customer_latitude IS NULL))
   OR (kafka_offset % 3 = 0 AND (transaction_value > 10) IS NOT TRUE AND (product_id LIKE 'p000%' OR customer_longitude < 0));
