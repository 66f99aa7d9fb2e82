-- Several INSERTs, which are one job.

CREATE TABLE inserts_source (
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

EXECUTE STATEMENT SET BEGIN
INSERT INTO iceberg_data_lake.ours_inserts.purchases
SELECT unique_event_id, event_ts_utc, transaction_value AS revenue_usd, kafka_partition, kafka_offset
FROM inserts_source
WHERE activity_type = 'purchase';

INSERT INTO iceberg_data_lake.ours_inserts.mobile
SELECT customer_id, client_platform, event_ts_utc, kafka_partition, kafka_offset
FROM inserts_source
WHERE client_platform IN ('ios', 'android') AND activity_type <> 'page_view';

INSERT INTO iceberg_data_lake.ours_inserts.located
SELECT session_guid, customer_latitude, customer_longitude, kafka_partition, kafka_offset
FROM inserts_source
WHERE customer_latitude IS NOT NULL AND kafka_offset % 4 = 0;
END;
