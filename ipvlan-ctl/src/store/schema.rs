//! The tables, and how an older file becomes a newer one.

/// Each entry brings a file from the version that is its index to the next one; `user_version` says where a file is.
pub(super) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
CREATE TABLE parent (
    slot INTEGER PRIMARY KEY,
    seal INTEGER NOT NULL,
    ifindex INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    mac BLOB NOT NULL,
    mode TEXT NOT NULL,
    made_qdisc INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE network (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    parent INTEGER NOT NULL REFERENCES parent (slot),
    flag TEXT NOT NULL,
    internal INTEGER NOT NULL,
    mtu INTEGER,
    state TEXT NOT NULL
) STRICT;
CREATE TABLE pool (
    network INTEGER NOT NULL REFERENCES network (id) ON DELETE CASCADE,
    subnet TEXT NOT NULL,
    gateway TEXT NOT NULL,
    last TEXT,
    PRIMARY KEY (network, subnet)
) STRICT;
CREATE TABLE endpoint (
    slot INTEGER PRIMARY KEY,
    seal INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    network INTEGER NOT NULL REFERENCES network (id),
    ifname TEXT NOT NULL,
    ifindex INTEGER,
    netns_label TEXT NOT NULL,
    netns_path TEXT NOT NULL,
    netns_cookie INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE TABLE address (
    parent INTEGER NOT NULL REFERENCES parent (slot),
    address TEXT NOT NULL,
    kind TEXT NOT NULL,
    endpoint INTEGER NOT NULL REFERENCES endpoint (slot) ON DELETE CASCADE,
    PRIMARY KEY (parent, address)
) STRICT;
",
    "
ALTER TABLE network ADD COLUMN multicast TEXT NOT NULL DEFAULT 'on';
ALTER TABLE network ADD COLUMN multicast_rate INTEGER NOT NULL DEFAULT 500;
",
    "
ALTER TABLE parent ADD COLUMN key BLOB NOT NULL DEFAULT x'';
ALTER TABLE endpoint ADD COLUMN key BLOB NOT NULL DEFAULT x'';
UPDATE parent SET key = randomblob(16);
UPDATE endpoint SET key = randomblob(16);
ALTER TABLE parent DROP COLUMN seal;
ALTER TABLE endpoint DROP COLUMN seal;
",
    "
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
UPDATE endpoint SET ifindex = 2147483647 WHERE ifindex IS NULL;
",
    "
ALTER TABLE parent ADD COLUMN xdp TEXT NOT NULL DEFAULT 'off';
",
    "
ALTER TABLE parent ADD COLUMN made TEXT;
ALTER TABLE network ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE pool ADD COLUMN range TEXT;
ALTER TABLE pool ADD COLUMN aux TEXT NOT NULL DEFAULT '{}';
",
    "
ALTER TABLE parent ADD COLUMN has_xdp INTEGER NOT NULL DEFAULT 0;
",
    "
ALTER TABLE network ADD COLUMN owner TEXT;
ALTER TABLE endpoint ADD COLUMN owner TEXT;
CREATE UNIQUE INDEX network_owner ON network (owner);
CREATE UNIQUE INDEX endpoint_owner ON endpoint (owner);
",
    "
ALTER TABLE parent ADD COLUMN host_addresses TEXT NOT NULL DEFAULT '[]';
",
    "
ALTER TABLE network ADD COLUMN arp_suppress TEXT NOT NULL DEFAULT 'on';
",
    "
ALTER TABLE network ADD COLUMN snat TEXT NOT NULL DEFAULT 'off';
",
    "
ALTER TABLE network ADD COLUMN host_access INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint ADD COLUMN host_access INTEGER NOT NULL DEFAULT 0;
",
    "
CREATE INDEX address_endpoint ON address (endpoint);
",
    "
-- All that an endpoint's row asks of its addresses, so that the table itself isn't read.
DROP INDEX address_endpoint;
CREATE INDEX address_endpoint ON address (endpoint, kind, address);
",
];

/// The version that this program writes.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;
