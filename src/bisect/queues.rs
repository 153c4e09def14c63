//! Two queues as one row of patches, and the changes that make the second of the first.

use gix_hash::ObjectId;

use crate::replay::Merged;
use crate::replay::merge::merge_trees;
use crate::replay::sequence::{Role, Settle, Step};
use crate::store::{ObjectError, Objects};

/// A patch in the stack of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its commit.
    pub commit: ObjectId,
    /// What tells its change from another: its patch-id.
    pub change: Option<String>,
    /// The stack's trees before and after it.
    pub trees: (ObjectId, ObjectId),
}

/// A patch of either queue.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    old: Option<Layer>,
    new: Option<Layer>,
    /// Its place among the changes, if the two differ.
    change: Option<usize>,
}

/// How a queue came to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'q> {
    /// The newer queue has the patch, the older has not.
    Added(&'q Layer),
    /// The older queue has it, the newer has not.
    Dropped(&'q Layer),
    /// Both have it, and it is another change.
    Changed(&'q Layer, &'q Layer),
}

/// Two queues.
#[derive(Debug, Clone)]
pub struct Queues {
    items: Vec<Item>,
    changes: usize,
}

/// The tree of a point, and the patches that did not apply there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The tree.
    pub tree: ObjectId,
    /// The patches that are left out.
    pub left_out: Vec<String>,
}

impl Queues {
    /// The queue of an older build and that of a newer one, each in its order.
    pub fn of(old: &[Layer], new: &[Layer]) -> Self {
        let mut items: Vec<Item> = Vec::with_capacity(new.len());
        for layer in new {
            let before = old.iter().find(|o| o.name == layer.name).cloned();
            items.push(Item { old: before, new: Some(layer.clone()), change: None });
        }
        // What only the older one has stands where it stood: behind the patch before it.
        for (at, layer) in old.iter().enumerate().filter(|(_, o)| new.iter().all(|n| n.name != o.name)) {
            let before = at.checked_sub(1).map(|b| &old[b].name);
            let named = |i: &Item| i.old.as_ref().map(|o| &o.name) == before;
            let place = before.and_then(|_| items.iter().position(named)).map_or(0, |p| p + 1);
            items.insert(place, Item { old: Some(layer.clone()), new: None, change: None });
        }
        let mut changes = 0;
        for item in &mut items {
            let same = match (&item.old, &item.new) {
                (Some(o), Some(n)) => o.change == n.change && o.change.is_some() || o.trees == n.trees,
                _ => false,
            };
            if !same {
                changes += 1;
                item.change = Some(changes);
            }
        }
        Self { items, changes }
    }

    /// How many changes there are.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// The change number `at`, from 1.
    pub fn change(&self, at: usize) -> Option<Change<'_>> {
        let item = self.items.iter().find(|i| i.change == Some(at))?;
        Some(match (&item.old, &item.new) {
            (Some(old), Some(new)) => Change::Changed(old, new),
            (Some(old), None) => Change::Dropped(old),
            (None, new) => Change::Added(new.as_ref()?),
        })
    }

    /// How many patches the queue has after so many changes.
    pub fn len(&self, changes: usize) -> usize {
        self.items.iter().filter(|i| i.at(changes).is_some()).count()
    }

    /// Does neither queue have a patch?
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The patch at `place` of the queue after so many changes.
    pub fn patch(&self, changes: usize, place: usize) -> Option<&Layer> {
        self.items.iter().filter_map(|i| i.at(changes)).nth(place)
    }

    /// The tree of trunk's tree `trunk` with the first `most` patches of the queue after so many changes. A patch that
    /// both queues have alike is merged in the form of either that fits; `newest` says that the newer one is tried first.
    pub fn on(
        &self,
        objects: &dyn Objects,
        trunk: &ObjectId,
        changes: usize,
        most: usize,
        newest: bool,
        settle: &dyn Settle,
    ) -> Result<Point, ObjectError> {
        let mut point = Point { tree: *trunk, left_out: Vec::new() };
        let here = self.items.iter().filter_map(|i| Some((i, i.at(changes)?))).take(most);
        for (item, layer) in here {
            let mut forms = vec![layer];
            if item.change.is_none() {
                forms = [&item.old, &item.new].into_iter().flatten().collect();
                if newest {
                    forms.reverse();
                }
            }
            match apply(objects, &point.tree, &forms, settle)? {
                Some(tree) => point.tree = tree,
                None => point.left_out.push(layer.name.clone()),
            }
        }
        Ok(point)
    }
}

impl Item {
    /// The patch after so many changes.
    fn at(&self, changes: usize) -> Option<&Layer> {
        match self.change {
            Some(at) if at > changes => self.old.as_ref(),
            Some(_) => self.new.as_ref(),
            None => self.old.as_ref(),
        }
    }
}

/// The stack with a patch, in the first of its forms that applies; else with an answer that was recorded.
fn apply(
    objects: &dyn Objects,
    stack: &ObjectId,
    forms: &[&Layer],
    settle: &dyn Settle,
) -> Result<Option<ObjectId>, ObjectError> {
    let mut open = None;
    for layer in forms {
        let (before, after) = layer.trees;
        match merge_trees(objects, &before, stack, &after)? {
            Merged::Clean(tree) => return Ok(Some(tree)),
            Merged::Conflicts(conflicts) => {
                open.get_or_insert((layer, conflicts));
            }
        }
    }
    let Some((layer, conflicts)) = open else { return Ok(None) };
    let (before, after) = layer.trees;
    let step = Step { name: layer.name.clone(), before, after, role: Role::Carry };
    Ok(settle.settle(objects, &step, stack, &conflicts)?.map(|(tree, _)| tree))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: usize) -> ObjectId {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        ObjectId::from_bytes_or_panic(&bytes)
    }

    fn layer(name: usize, change: usize) -> Layer {
        let change = name * 10 + change;
        Layer {
            name: format!("p{name}"),
            commit: id(change),
            change: Some(change.to_string()),
            trees: (id(0), id(change)),
        }
    }

    fn names(q: &Queues, changes: usize) -> Vec<(String, Option<String>)> {
        let all = (0..q.len(changes)).filter_map(|at| q.patch(changes, at));
        all.map(|l| (l.name.clone(), l.change.clone())).collect()
    }

    #[test]
    fn what_was_dropped_stands_where_it_stood() {
        let (old, new) = ([layer(1, 0), layer(2, 0), layer(3, 0)], [layer(1, 0), layer(3, 1), layer(4, 0)]);
        let q = Queues::of(&old, &new);
        assert_eq!(q.changes(), 3);
        assert!(matches!(q.change(1), Some(Change::Dropped(l)) if l.name == "p2"));
        assert!(matches!(q.change(2), Some(Change::Changed(_, n)) if n.change.as_deref() == Some("31")));
        assert!(matches!(q.change(3), Some(Change::Added(l)) if l.name == "p4"));
        assert_eq!(q.change(4), None);
        let middle: Vec<String> = names(&q, 1).into_iter().map(|(n, _)| n).collect();
        assert_eq!(middle, ["p1", "p3"]);
    }

    proptest! {
        /// Without a change it is the older queue, with all of them the newer one, and each step changes one patch.
        #[test]
        fn changes_lead_from_one_queue_to_the_other(
            old in proptest::collection::btree_map(0_usize..12, 0_usize..3, 0..10),
            new in proptest::collection::btree_map(0_usize..12, 0_usize..3, 0..10),
        ) {
            let of = |q: &std::collections::BTreeMap<usize, usize>| -> Vec<Layer> {
                q.iter().map(|(name, change)| layer(*name, *change)).collect()
            };
            let (old, new) = (of(&old), of(&new));
            let q = Queues::of(&old, &new);
            let plain = |all: &[Layer]| -> Vec<(String, Option<String>)> {
                all.iter().map(|l| (l.name.clone(), l.change.clone())).collect()
            };
            let sorted = |mut v: Vec<(String, Option<String>)>| { v.sort(); v };
            prop_assert_eq!(sorted(names(&q, 0)), sorted(plain(&old)));
            prop_assert_eq!(names(&q, q.changes()), plain(&new));
            for at in 1..=q.changes() {
                let (before, after) = (names(&q, at - 1), names(&q, at));
                let gone = before.iter().filter(|n| !after.contains(n)).count();
                let come = after.iter().filter(|n| !before.contains(n)).count();
                prop_assert!(gone <= 1 && come <= 1 && gone + come >= 1);
            }
        }
    }
}
