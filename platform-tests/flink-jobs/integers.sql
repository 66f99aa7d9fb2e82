-- Arithmetic of INT and BIGINT; it wraps around.

CREATE TABLE integers_source (
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

INSERT INTO iceberg_data_lake.ours_integers.events
SELECT
  kafka_partition + 1 AS next_partition,
  kafka_partition - 3 AS below_zero,
  kafka_partition * 1000000007 AS wrapped_int,
  kafka_offset * 4611686018427387904 AS wrapped_bigint,
  kafka_offset + kafka_partition AS mixed,
  (kafka_partition - 3) / 2 AS divided,
  (kafka_partition - 3) % 2 AS remainder,
  kafka_offset / 7 AS in_sevens,
  kafka_offset % 7 AS weekday,
  MOD(kafka_offset, 10) AS last_digit,
  MOD(kafka_partition - 3, 2) AS remainder_below_zero,
  -kafka_partition AS negated,
  ABS(kafka_partition - 3) AS distance,
  ABS(-kafka_offset) AS back_again,
  2147483647 + kafka_partition AS over_the_top,
  9223372036854775807 AS largest,
  CHAR_LENGTH(source_url) * kafka_partition AS product_of_ints,
  kafka_partition,
  kafka_offset
FROM integers_source
WHERE kafka_offset % 5 = 0 AND kafka_partition * 2 < 9;
