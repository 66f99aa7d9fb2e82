-- Every function of times, in UTC.

CREATE TABLE times_source (
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

INSERT INTO iceberg_data_lake.ours_times.events
SELECT
  event_ts_utc,
  EXTRACT(YEAR FROM event_ts_utc) AS in_year,
  EXTRACT(MONTH FROM event_ts_utc) AS in_month,
  EXTRACT(DAY FROM event_ts_utc) AS on_day,
  EXTRACT(HOUR FROM event_ts_utc) AS in_hour,
  EXTRACT(MINUTE FROM event_ts_utc) AS in_minute,
  EXTRACT(SECOND FROM event_ts_utc) AS in_second,
  YEAR(CAST(event_ts_utc AS TIMESTAMP(3))) AS local_year,
  MONTH(CAST(event_ts_utc AS DATE)) AS month_of_date,
  DAYOFMONTH(event_ts_utc) AS day_of_month,
  HOUR(event_ts_utc) AS plain_hour,
  MINUTE(event_ts_utc) AS plain_minute,
  SECOND(CAST(event_ts_utc AS TIMESTAMP(3))) AS local_second,
  DATE_FORMAT(event_ts_utc, 'yyyy-MM-dd HH:mm:ss.SSS') AS written,
  DATE_FORMAT(CAST(event_ts_utc AS TIMESTAMP(3)), 'dd/MM/yyyy') AS european,
  DATE_FORMAT(event_ts_utc, 'yyyyMMdd_HHmmss') AS compact,
  CAST(event_ts_utc AS DATE) AS on_date,
  CAST(CAST(event_ts_utc AS DATE) AS STRING) AS date_as_text,
  CAST(event_ts_utc AS TIMESTAMP(3)) AS local_time_of_event,
  CAST(CAST(event_ts_utc AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3)) AS there_and_back,
  CAST(CAST(event_ts_utc AS DATE) AS TIMESTAMP_LTZ(3)) AS midnight,
  CAST(event_ts_utc AS DATE) = DATE '2025-01-31' AS on_that_day,
  event_ts_utc > CAST(TIMESTAMP '2025-01-31 12:00:00' AS TIMESTAMP_LTZ(3)) AS after_noon,
  DATE '2024-02-29' AS leap_day,
  TIMESTAMP '2024-02-29 23:59:59.123456' AS leap_moment,
  kafka_partition,
  kafka_offset
FROM times_source
WHERE EXTRACT(SECOND FROM event_ts_utc) < 30 AND CAST(event_ts_utc AS DATE) > DATE '2020-01-01';
