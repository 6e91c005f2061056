"""Databases of older program versions."""

import sqlite3
from pathlib import Path

import numpy as np

# as the first version of the program made them; never to be changed
TABLES_OF_VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE subjects (key INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, tenant VARCHAR(64) NOT NULL,
    subject_id VARCHAR(256) NOT NULL, created_at DATETIME NOT NULL, UNIQUE (tenant, subject_id));
CREATE TABLE templates (template_id VARCHAR(32) NOT NULL, subject_key INTEGER NOT NULL, model VARCHAR(64) NOT NULL,
    version VARCHAR(64) NOT NULL, embedding BLOB NOT NULL, created_at DATETIME NOT NULL, PRIMARY KEY (template_id),
    FOREIGN KEY(subject_key) REFERENCES subjects (key) ON DELETE CASCADE);
CREATE INDEX templates_of_subject ON templates (subject_key, model);
CREATE TABLE subject_references (subject_key INTEGER NOT NULL, model VARCHAR(64) NOT NULL,
    version VARCHAR(64) NOT NULL, template_count INTEGER NOT NULL, embedding BLOB NOT NULL,
    PRIMARY KEY (subject_key, model, version),
    FOREIGN KEY(subject_key) REFERENCES subjects (key) ON DELETE CASCADE);
INSERT INTO schema_version VALUES (1);
"""


def make_old(path: Path, rows: np.ndarray) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(TABLES_OF_VERSION_1)
    for key, row in enumerate(rows, start=1):
        connection.execute("INSERT INTO subjects VALUES (?, 't', ?, '2026-01-01 00:00:00')", (key, f"s{key}"))
        for model in ("voice", "face")[: 1 + key % 2]:
            connection.execute(
                "INSERT INTO subject_references VALUES (?, ?, '1', 1, ?)", (key, model, (row * len(model)).tobytes())
            )
    connection.commit()
    connection.close()
