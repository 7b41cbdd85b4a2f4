//! Names of Valkey's commands that Kivi does not have: rules of users may name them, since files of users
//! written for Valkey do. They allow and forbid nothing.
//!
//! A name that Kivi has by now is taken out (a test says so).

use crate::acl::CatalogEntry;
use crate::spec::AclCategories;

/// Commands, and subcommands of each.
const NAMES: &[(&str, &[&str])] = &[
    ("asking", &[]),
    (
        "cluster",
        &[
            "addslots",
            "addslotsrange",
            "bumpepoch",
            "cancelslotmigrations",
            "count-failure-reports",
            "countkeysinslot",
            "delslots",
            "delslotsrange",
            "failover",
            "flushslot",
            "flushslots",
            "forget",
            "getkeysinslot",
            "getslotmigrations",
            "help",
            "info",
            "keyslot",
            "links",
            "meet",
            "migrateslots",
            "myid",
            "myshardid",
            "nodes",
            "replicas",
            "replicate",
            "reset",
            "saveconfig",
            "set-config-epoch",
            "setslot",
            "shards",
            "slaves",
            "slot-stats",
            "slots",
            "syncslots",
        ],
    ),
    ("clusterscan", &[]),
    ("failover", &[]),
    ("migrate", &[]),
    ("psync", &[]),
    ("readonly", &[]),
    ("readwrite", &[]),
    ("replconf", &[]),
    ("replicaof", &[]),
    ("restore-asking", &[]),
    ("slaveof", &[]),
    ("sync", &[]),
    ("wait", &[]),
    ("waitaof", &[]),
];

/// Adds what is not among the entries yet.
pub(super) fn add_to(entries: &mut Vec<CatalogEntry>) {
    for (command, subcommands) in NAMES {
        let parent = find_or_add(entries, command, None);
        for subcommand in *subcommands {
            let full_name = format!("{command}|{subcommand}");
            let before = entries.len();
            let id = find_or_add(entries, &full_name, Some(parent));
            if entries.len() > before {
                entries[usize::from(parent)].subcommands.push(id);
            }
        }
    }
}

fn find_or_add(entries: &mut Vec<CatalogEntry>, full_name: &str, parent: Option<u16>) -> u16 {
    let known = entries
        .iter()
        .position(|entry| *entry.full_name == *full_name);
    let id = known.unwrap_or_else(|| {
        entries.push(CatalogEntry {
            full_name: full_name.into(),
            categories: AclCategories::NONE,
            no_auth: false,
            is_hidden: false,
            parent,
            subcommands: Vec::new(),
        });
        entries.len() - 1
    });
    id as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CommandTable;

    #[test]
    fn what_kivi_has_is_not_foreign() {
        let table = CommandTable::new(&[]).unwrap();
        for (command, subcommands) in NAMES {
            let has = |name: &str| table.by_full_name(name.as_bytes()).is_some();
            assert!(!subcommands.is_empty() || !has(command), "{command}");
            for subcommand in *subcommands {
                assert!(
                    !has(&format!("{command}|{subcommand}")),
                    "{command} {subcommand}"
                );
            }
        }
    }
}
