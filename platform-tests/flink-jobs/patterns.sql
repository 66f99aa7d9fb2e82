-- LIKE and NOT LIKE.

CREATE TABLE patterns_source (
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

INSERT INTO iceberg_data_lake.ours_patterns.events
SELECT
  source_url LIKE '/product%' AS is_product,
  source_url LIKE '%utm_campaign=%' AS from_campaign,
  source_url LIKE '%=newsletter' AS from_newsletter,
  source_url LIKE '/%?%=%' AS with_query,
  customer_id LIKE 'c000____' AS low_number,
  customer_id LIKE '_0000001' AS first_customer,
  product_id LIKE 'p0000_' AS low_product,
  product_id NOT LIKE '%7%' AS no_seven,
  client_platform LIKE 'mobile_web' AS mobile_web,
  client_platform LIKE 'web' AS exactly_web,
  activity_type LIKE '%%' AS anything,
  source_url,
  kafka_partition,
  kafka_offset
FROM patterns_source
WHERE source_url LIKE '%campaign%' AND client_platform NOT LIKE 'i%';
