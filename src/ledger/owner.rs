//! Whose a node is: the client that added it, or the one that the operator gave it to.

use rusqlite::{OptionalExtension, Transaction, params};

use super::row::SELECT;
use super::{Entry, Ledger, LedgerError};
use crate::model::client::Caller;
use crate::model::name::{ClientName, NodeName};

/// The name of a node, if it is a client's and proven to be espm's.
const OWN: &str = "SELECT own.name FROM node AS own INDEXED BY node_by_client
    WHERE own.client = ?2 AND own.name = ?1 AND own.state <> 'unproven'";

/// The client that a new node is added for.
#[derive(Debug, Clone, Copy)]
pub struct NodeOwner<'a> {
    /// Its name.
    pub client: &'a ClientName,
    /// The nodes that it may have at once.
    pub most: Option<usize>,
}

impl NodeOwner<'_> {
    /// Fails if the client has all the nodes that it may have.
    pub(super) fn check_quota(self, transaction: &Transaction<'_>) -> rusqlite::Result<Result<(), LedgerError>> {
        let Some(most) = self.most else { return Ok(Ok(())) };
        let has = count(transaction, self.client)?;
        Ok(if has < most { Ok(()) } else { Err(LedgerError::Quota { has, most }) })
    }
}

/// The nodes of a client, unproven ones included.
fn count(database: &rusqlite::Connection, client: &ClientName) -> rusqlite::Result<usize> {
    // Each part has an index; the second of these nodes are few.
    let query = "SELECT (SELECT count(*) FROM node WHERE client = ?1 AND state <> 'unproven')
        + (SELECT count(*) FROM node WHERE state <> 'active' AND state = 'unproven' AND client = ?1)";
    database.query_row(query, [client.as_str()], |row| Ok(row.get::<_, u32>(0)? as usize))
}

impl Ledger {
    /// A node's row, unless the node is unproven or not the caller's.
    ///
    /// To a client such a node is as absent as any other name, so nothing of its row is read: that would take time.
    /// The index of the clients' own nodes has neither of them.
    pub(crate) fn entry_of_ours(&self, name: &NodeName, caller: &Caller) -> Result<Option<Entry>, LedgerError> {
        let Some(client) = caller.client() else {
            return self.row(&format!("{SELECT} WHERE node.name = ?1 AND node.state <> 'unproven'"), [name.as_str()]);
        };
        let query = format!("{SELECT} WHERE node.name = ({OWN})");
        self.row(&query, params![name.as_str(), client.name.as_str()])
    }

    /// True if the ledger has a node of this name that is not the caller's.
    pub(crate) fn is_anothers(&self, name: &NodeName, caller: &Caller) -> Result<bool, LedgerError> {
        let query = "SELECT client FROM node WHERE name = ?1";
        let owner: Option<Option<String>> =
            self.database.query_row(query, [name.as_str()], |row| row.get(0)).optional().map_err(self.error())?;
        let own = caller.client().map(|client| client.name.as_str());
        Ok(owner.is_some_and(|owner| own.is_some_and(|own| owner.as_deref() != Some(own))))
    }

    /// Fails if a client has all the nodes that it may have. Only the intent's own transaction decides for certain.
    pub(crate) fn check_quota(&self, owner: NodeOwner<'_>) -> Result<(), LedgerError> {
        let reading = Transaction::new_unchecked(&self.database, rusqlite::TransactionBehavior::Deferred);
        reading.and_then(|reading| owner.check_quota(&reading)).map_err(self.error())?
    }

    /// The number of nodes of each client, and of none.
    pub(crate) fn owners(&self) -> Result<Vec<(Option<ClientName>, usize)>, LedgerError> {
        let query = "SELECT client, count(*) FROM node GROUP BY client ORDER BY client";
        let mut statement = self.database.prepare(query).map_err(self.error())?;
        let rows =
            statement.query_map([], |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, u32>(1)? as usize)));
        let owner = |name: String| ClientName::parse(&name).map_err(|_| LedgerError::Row(name));
        let owners = rows.map_err(self.error())?.map(|row| {
            let (name, nodes) = row.map_err(self.error())?;
            Ok((name.map(owner).transpose()?, nodes))
        });
        owners.collect()
    }

    /// Gives a node to a client. The answers that are kept for another client are forgotten.
    pub(crate) fn assign(&self, name: &NodeName, client: &ClientName) -> Result<(), LedgerError> {
        self.write(|transaction| {
            transaction.execute(
                "DELETE FROM answer WHERE name = ?1 AND (SELECT client FROM node WHERE name = ?1) IS NOT ?2",
                params![name.as_str(), client.as_str()],
            )?;
            transaction.execute("UPDATE node SET client = ?2 WHERE name = ?1", params![name.as_str(), client.as_str()])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeOwner, OWN};
    use crate::ledger::{Key, Ledger, LedgerError, create};
    use crate::model::client::{Caller, Client, Rights};
    use crate::model::extension::ExtensionPatterns;
    use crate::model::name::{ClientName, NodeName};
    use crate::model::node::{Assignment, Node};
    use crate::model::pattern::Patterns;
    use crate::system::scratch::scratch;

    fn ledger(name: &str) -> Ledger {
        let directory = scratch(&format!("ledger-owner-{name}"));
        create(&directory).unwrap();
        Ledger::open(&directory, "r").unwrap()
    }

    fn node(name: &str) -> Node {
        Node { name: NodeName::parse(name).unwrap(), assignment: Assignment::default() }
    }

    fn client(name: &str) -> ClientName {
        ClientName::parse(name).unwrap()
    }

    fn caller(name: &str) -> Caller {
        let any = || Patterns::parse("*", |_| true).unwrap();
        let (nodes, groups, classes, environments) = (any(), any(), any(), any());
        let rights = Rights {
            may: vec![],
            nodes,
            groups,
            classes,
            environments,
            extensions: ExtensionPatterns::default(),
            most: None,
        };
        Caller::Client(Box::new(Client { name: client(name), keys: vec![], rights }))
    }

    fn add(ledger: &Ledger, name: &str, of: &str, most: Option<usize>) -> Result<(), LedgerError> {
        ledger.intend_to_add(&node(name), "o", NodeOwner { client: &client(of), most }, None)
    }

    #[test]
    fn node_is_seen_by_its_client_and_by_the_operator() {
        let ledger = ledger("seen");
        add(&ledger, "web01", "a", None).unwrap();
        ledger.settle(&node("web01")).unwrap();
        let name = node("web01").name;
        let sees = |caller: &Caller| ledger.entry_of_ours(&name, caller).unwrap().is_some();
        assert!(sees(&caller("a")) && sees(&Caller::Operator) && !sees(&caller("b")));
        let is_anothers = |caller: &Caller| ledger.is_anothers(&name, caller).unwrap();
        assert!(is_anothers(&caller("b")) && !is_anothers(&caller("a")) && !is_anothers(&Caller::Operator));
        assert!(!ledger.is_anothers(&node("web02").name, &caller("b")).unwrap());
        ledger.mark_unproven(&name).unwrap();
        assert!(!sees(&caller("a")) && !sees(&Caller::Operator) && is_anothers(&caller("b")));
        // As after an upgrade from 0.1, which knew no clients.
        ledger.database.execute("UPDATE node SET client = NULL, state = 'active'", []).unwrap();
        assert!(!sees(&caller("a")) && sees(&Caller::Operator) && is_anothers(&caller("a")));
        assert_eq!(ledger.owners().unwrap(), [(None, 1)]);
    }

    #[test]
    fn row_of_another_or_in_doubt_is_not_looked_for_in_the_table() {
        let ledger = ledger("index");
        let query = format!("EXPLAIN QUERY PLAN {OWN}");
        let plan: String = ledger.database.query_row(&query, ["web01", "a"], |row| row.get(3)).unwrap();
        assert!(plan.ends_with("INDEX node_by_client (client=? AND name=?)"), "{plan}");
    }

    #[test]
    fn quota_counts_every_node_of_the_client() {
        let ledger = ledger("quota");
        add(&ledger, "web01", "a", Some(2)).unwrap();
        ledger.mark_unproven(&node("web01").name).unwrap();
        add(&ledger, "web02", "b", Some(1)).unwrap();
        add(&ledger, "web03", "a", Some(2)).unwrap();
        let full = add(&ledger, "web04", "a", Some(2));
        assert!(matches!(full, Err(LedgerError::Quota { has: 2, most: 2 })), "{full:?}");
        assert!(ledger.entry(&node("web04").name).unwrap().is_none());
        let owner = client("a");
        assert!(ledger.check_quota(NodeOwner { client: &owner, most: Some(2) }).is_err());
        assert!(ledger.check_quota(NodeOwner { client: &owner, most: Some(3) }).is_ok());
        // A right that was narrowed takes no node away.
        let fuller = add(&ledger, "web05", "a", Some(0));
        assert!(matches!(fuller, Err(LedgerError::Quota { has: 2, most: 0 })), "{fuller:?}");
        ledger.forget(&node("web03").name).unwrap();
        add(&ledger, "web06", "a", Some(2)).unwrap();
        let owners = [(Some(client("a")), 2), (Some(client("b")), 1)];
        assert_eq!(ledger.owners().unwrap(), owners);
    }

    #[test]
    fn node_given_to_another_client_loses_the_answers_of_the_first() {
        let ledger = ledger("assign");
        let (owner, name) = (client("a"), node("web01").name);
        let key = Key { client: "a", key: "k", digest: "d" };
        ledger.intend_to_add(&node("web01"), "o", NodeOwner { client: &owner, most: None }, Some(&key)).unwrap();
        ledger.settle(&node("web01")).unwrap();
        ledger.assign(&name, &client("a")).unwrap();
        assert!(ledger.kept("a", "k").unwrap().is_some(), "it was given to nobody else");
        ledger.assign(&name, &client("b")).unwrap();
        assert!(ledger.kept("a", "k").unwrap().is_none());
        assert!(ledger.entry_of_ours(&name, &caller("a")).unwrap().is_none());
        assert!(ledger.entry_of_ours(&name, &caller("b")).unwrap().is_some());
        assert_eq!(ledger.entry(&name).unwrap().unwrap().client, Some(client("b")));
    }
}
