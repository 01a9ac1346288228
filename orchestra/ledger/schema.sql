-- The ledger, version 1. One file per user and host; see rows.py for what the columns mean.
-- Times are seconds since the epoch, identities and shapes are JSON objects, booleans are 0 and 1.

CREATE TABLE runs (
    run              TEXT    NOT NULL UNIQUE,
    instance         TEXT    NOT NULL,
    topology         TEXT    NOT NULL,
    file             TEXT    NOT NULL,
    folder           TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    started_at       REAL    NOT NULL,
    boot_id          TEXT    NOT NULL,
    uid              INTEGER NOT NULL,
    ended_at         REAL,
    exit_code        INTEGER,
    supervisor_pid   INTEGER,
    supervisor_start INTEGER,
    guardian_pid     INTEGER,
    guardian_start   INTEGER,
    socket           TEXT    NOT NULL,
    log              TEXT    NOT NULL,
    detached         INTEGER NOT NULL,
    leak             INTEGER NOT NULL,
    finished         INTEGER NOT NULL
);
CREATE INDEX runs_of_instance ON runs (instance);

CREATE TABLE processes (
    run        TEXT    NOT NULL,
    process    TEXT    NOT NULL,
    replica    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    pid        INTEGER,
    start_time INTEGER,
    exit_code  INTEGER,
    signal     TEXT,
    restarts   INTEGER NOT NULL,
    started_at REAL,
    ended_at   REAL,
    reason     TEXT    NOT NULL,
    UNIQUE (run, process, replica)
);

CREATE TABLE objects (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    run           TEXT    NOT NULL,
    instance      TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    family        TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    mode          INTEGER NOT NULL,
    nonce         TEXT    NOT NULL,
    creator_pid   INTEGER NOT NULL,
    creator_start INTEGER,
    uid           INTEGER NOT NULL,
    boot_id       TEXT    NOT NULL,
    ipc_ns        INTEGER NOT NULL,
    name          TEXT,
    ipc_key       INTEGER,
    id            INTEGER,
    identity      TEXT,
    state         TEXT    NOT NULL,
    on_down       TEXT    NOT NULL,
    shape         TEXT    NOT NULL,
    created_at    REAL    NOT NULL,
    settled_at    REAL,
    why           TEXT    NOT NULL,
    wanted_name   TEXT,
    by_hand_leak  INTEGER NOT NULL
);
CREATE INDEX objects_of_run ON objects (run);
CREATE INDEX objects_of_instance ON objects (instance, key);
CREATE INDEX objects_by_state ON objects (state);
