# Apache Flink with what the job needs: the Kafka connector, Iceberg with S3, the settings, the catalog, two scripts.
ARG MAVEN_IMAGE=maven:3.9-eclipse-temurin-17
ARG FLINK_IMAGE=flink:2.1.1-java17

FROM ${MAVEN_IMAGE} AS parts
WORKDIR /parts
COPY pom.xml .
# Flink brings its own of those that are left out.
RUN --mount=type=cache,target=/var/cache/maven,sharing=locked \
    mvn --batch-mode --quiet -Dmaven.repo.local=/var/cache/maven org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DincludeScope=runtime -DexcludeArtifactIds=slf4j-api,jsr305,snappy-java -DoutputDirectory=lib

FROM ${FLINK_IMAGE}
COPY --from=parts /parts/lib/ /opt/flink/lib/
COPY --chown=9999:9999 flink_runtime.yaml /opt/flink/conf/config.yaml
COPY init.sql submit.sh stop.sh /opt/streamforge/
# A new volume takes owner and mode from the folder that it hides.
RUN install -d -o 9999 -g 9999 /checkpoints \
 && install -d -o 9999 -g 9999 -m 0777 /handover
USER 9999:9999
