-- ClickHouse: logs of all sensors out of Kafka (docs/fleet-publish.md). ClickHouse reads committed rows alone (librdkafka's
-- default), so each row comes once; a crash of ClickHouse itself may repeat a block, which ReplacingMergeTree takes back by
-- raytap-id when it merges, or at once with SELECT ... FINAL.
CREATE DATABASE IF NOT EXISTS raytap;

CREATE TABLE raytap.queue (raw String)
ENGINE = Kafka
SETTINGS kafka_broker_list = 'kafka-1:9092,kafka-2:9092',
         kafka_topic_list = 'raytap.notice,raytap.incidents,raytap.assets,raytap.stats,raytap.conn,raytap.dns',
         kafka_group_name = 'clickhouse',
         kafka_format = 'JSONAsString',
         kafka_num_consumers = 2;

-- Every row as it is, with what all have in columns of their own. id is the row's raytap-id.
CREATE TABLE raytap.rows (
    id String,
    log LowCardinality(String),
    sensor LowCardinality(String),
    written DateTime64(6, 'UTC'),
    ts DateTime64(6, 'UTC'),
    uid String,
    community_id String,
    raw String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(ts)
ORDER BY (log, ts, id)
TTL toDateTime(ts) + INTERVAL 90 DAY;

CREATE MATERIALIZED VIEW raytap.rows_in TO raytap.rows AS
SELECT
    _headers.value[indexOf(_headers.name, 'raytap-id')] AS id,
    JSONExtractString(raw, '_path') AS log,
    JSONExtractString(raw, '_system_name') AS sensor,
    parseDateTime64BestEffort(JSONExtractString(raw, '_write_ts'), 6, 'UTC') AS written,
    toDateTime64(JSONExtract(raw, 'ts', 'Decimal64(6)'), 6, 'UTC') AS ts,
    JSONExtractString(raw, 'uid') AS uid,
    JSONExtractString(raw, 'community_id') AS community_id,
    raw
FROM raytap.queue;

-- Findings: of the rows with one finding_id the one with the highest revision stands.
CREATE VIEW raytap.findings AS
SELECT
    JSONExtractString(raw, 'finding_id') AS finding_id,
    argMax(sensor, JSONExtractUInt(raw, 'revision')) AS sensor,
    min(ts) AS first,
    argMax(JSONExtractString(raw, 'rule'), JSONExtractUInt(raw, 'revision')) AS rule,
    argMax(JSONExtractString(raw, 'severity'), JSONExtractUInt(raw, 'revision')) AS severity,
    argMax(JSONExtractString(raw, 'src'), JSONExtractUInt(raw, 'revision')) AS src,
    argMax(JSONExtractString(raw, 'dst'), JSONExtractUInt(raw, 'revision')) AS dst,
    argMax(JSONExtractString(raw, 'msg'), JSONExtractUInt(raw, 'revision')) AS msg,
    max(JSONExtractUInt(raw, 'n')) AS n
FROM raytap.rows
WHERE log = 'notice'
GROUP BY finding_id;
