-- CASE in all its forms.

CREATE TABLE choices_source (
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

INSERT INTO iceberg_data_lake.ours_choices.events
SELECT
  CASE activity_type
    WHEN 'page_view' THEN 1
    WHEN 'product_click' THEN 2
    WHEN 'purchase' THEN 5
  END AS step,
  CASE
    WHEN transaction_value > 200 THEN 'large'
    WHEN transaction_value > 50 THEN 'medium'
    WHEN transaction_value IS NOT NULL THEN 'small'
    ELSE 'none'
  END AS size,
  CASE WHEN customer_latitude > 0e0 THEN CASE WHEN customer_longitude > 0e0 THEN 'NE' ELSE 'NW' END
       WHEN customer_latitude <= 0e0 THEN CASE WHEN customer_longitude > 0e0 THEN 'SE' ELSE 'SW' END
  END AS quarter,
  CASE WHEN activity_type = 'purchase' THEN transaction_value ELSE 0 END AS revenue,
  CASE WHEN kafka_offset > 5 THEN kafka_partition ELSE kafka_offset END AS widened,
  CASE WHEN product_id = 'p00001' THEN NULL ELSE product_id END AS other_product,
  CASE WHEN transaction_value > 100 THEN 1.5 WHEN transaction_value > 50 THEN 2 ELSE 0.125 END AS factor,
  kafka_partition,
  kafka_offset
FROM choices_source
WHERE CASE WHEN activity_type = 'purchase' THEN transaction_value > 10 ELSE client_platform = 'ios' END;
