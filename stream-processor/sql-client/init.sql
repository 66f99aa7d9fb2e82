-- What a job file finds on Flink: the catalog of its sink tables. The keys of the object store come from the
-- environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, so that they stand in no statement.
CREATE CATALOG iceberg_data_lake WITH (
  'type' = 'iceberg',
  'catalog-type' = 'rest',
  'uri' = 'http://iceberg-catalog-svc:8181',
  'io-impl' = 'org.apache.iceberg.aws.s3.S3FileIO',
  's3.endpoint' = 'http://minio-storage-service:9000',
  's3.path-style-access' = 'true',
  'client.region' = 'us-east-1'
);
