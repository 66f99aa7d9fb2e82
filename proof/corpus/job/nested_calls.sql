-- The pipeline, in Flink SQL: what is read, what is kept, and under which names.
--
-- stream-processor runs this file as it is; so does Apache Flink. docs/sql.md lists what may stand
-- here. A record that does not fit the declaration below goes to marketing_events.rejected_events with
-- its reason; a record that the WHERE clause drops is counted as filtered.

CREATE TABLE user_activity (
  unique_event_id    STRING NOT NULL,
  customer_id        STRING NOT NULL,
  session_guid       STRING NOT NULL,
  activity_type      STRING NOT NULL,
  source_url         STRING NOT NULL,
  client_platform    STRING NOT NULL,
  event_ts_utc       TIMESTAMP_LTZ(4) NOT NULL,
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

INSERT INTO iceberg_data_lake.marketing_events.processed_conversions
SELECT
  unique_event_id,
  customer_id,
  activity_type     AS marketing_action,
  source_url,
  session_guid,
  client_platform   AS platform,
  event_ts_utc,
  customer_latitude,
  customer_longitude,
  product_id,
  transaction_value AS revenue_usd,
  kafka_partition,
  kafka_offset
FROM user_activity
WHERE activity_type = 'purchase' AND trSUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRdING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(SUBSTRING(ansaction_value > 50;
