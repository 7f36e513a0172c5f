"""Where ML Metadata are kept: an SQLite file, or the database that the job names."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from jobs.exits import ConfigError
from jobs.tfx_config import TfxConfig

PASSWORD = "CONVOY_METADATA_PASSWORD"  # noqa: S105  # the variable that has it  # nosec B105
FILE = "metadata.db"


def connection_config(config: TfxConfig) -> Any:
    """Give how to connect. Raises ConfigError when the database's password is not set."""
    if config.metadata is None:
        if "://" in config.root:
            return None  # a cluster's own
        return sqlite_metadata_connection_config(str(Path(config.root) / FILE))
    url = urlsplit(config.metadata)
    password = os.environ.get(PASSWORD)
    if password is None:
        raise ConfigError(f"tfx.metadata names a database: set its password in {PASSWORD}")
    name = url.path.removeprefix("/")
    if url.scheme == "mysql":
        return metadata_store_pb2.ConnectionConfig(
            mysql=metadata_store_pb2.MySQLDatabaseConfig(
                host=url.hostname,
                port=url.port or 3306,
                database=name,
                user=url.username,
                password=password,
            )
        )
    return metadata_store_pb2.ConnectionConfig(
        postgresql=metadata_store_pb2.PostgreSQLDatabaseConfig(
            host=url.hostname,
            port=str(url.port or 5432),
            dbname=name,
            user=url.username,
            password=password,
        )
    )
