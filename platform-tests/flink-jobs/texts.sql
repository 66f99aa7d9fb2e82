-- Every function of texts.

CREATE TABLE texts_source (
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

INSERT INTO iceberg_data_lake.ours_texts.events
SELECT
  UPPER(client_platform) AS upper_case,
  LOWER(UPPER(source_url)) AS lower_case,
  TRIM('  ' || client_platform || ' ') AS trimmed,
  LTRIM('  ' || client_platform || ' ') AS left_trimmed,
  RTRIM('  ' || client_platform || ' ') AS right_trimmed,
  TRIM(LEADING 'c' FROM customer_id) AS without_letter,
  TRIM(TRAILING '1' FROM customer_id) AS without_ones,
  TRIM(BOTH '0' FROM SUBSTRING(customer_id FROM 2)) AS without_zeros,
  SUBSTRING(unique_event_id FROM 1 FOR 8) AS first_eight,
  SUBSTRING(unique_event_id, 25) AS last_part,
  SUBSTRING(client_platform, 3, 100) AS beyond,
  SUBSTRING(client_platform, 50, 2) AS nothing_there,
  LEFT(session_guid, 4) AS beginning,
  RIGHT(session_guid, 4) AS ending,
  LEFT(client_platform, 0) AS empty_text,
  RIGHT(client_platform, 99) AS all_of_it,
  POSITION('?' IN source_url) AS query_begins,
  POSITION('nowhere' IN source_url) AS not_found,
  REPLACE(source_url, '/', '::') AS replaced,
  REPLACE(client_platform, 'xyz', '') AS unchanged,
  CHAR_LENGTH(source_url) AS length_of_url,
  customer_id || '/' || product_id AS joined,
  CONCAT(client_platform, ':', activity_type, ':', product_id) AS concatenated,
  'it''s ä €' || client_platform AS with_literal,
  CHAR_LENGTH('ä€𝄞' || client_platform) AS length_in_letters,
  UPPER('straße ' || client_platform) AS upper_sharp_s,
  kafka_partition,
  kafka_offset
FROM texts_source
WHERE CHAR_LENGTH(source_url) > 20 AND LOWER(client_platform) <> 'android' AND LEFT(customer_id, 1) = 'c';
