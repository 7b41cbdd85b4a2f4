//! How a snapshot walks a large collection that goes on changing.
//!
//! [`Collection::begin_save`] fixes the moment, in no time for tables and some nanoseconds per node
//! for lists. The walk goes on in slices ([`Saving::slice`]) wherever the collection is meanwhile: it
//! may be renamed. If it is dropped, what the walk still needs of it is left to the [`Saving`]
//! ([`Saving::take_rest`]), whoever drops it.

use std::sync::Arc;

use super::{Collection, Element};
use crate::ds::entry::{Entry, EntryRef, ValueRef};
use crate::ds::quicklist::{ListHeir, Quicklist};
use crate::ds::stream::Stream;
use crate::ds::stream::save::StreamHeir;
use crate::ds::table::{Heir, Table};
use crate::ds::zset::{MemberRef, ScoredMember};

/// The walk over a collection: where it is, and what it inherits.
pub struct Saving {
    heir: AnyHeir,
    cursor: u64,
}

enum AnyHeir {
    Fields(Heir<Entry>),
    Members(Heir<Entry>),
    Scored(Heir<ScoredMember>),
    List(ListHeir),
    Stream(StreamHeir),
}

/// What is left of a collection that was dropped.
pub enum Rest {
    /// Of a hash.
    Fields(Table<Entry>),
    /// Of a set.
    Members(Table<Entry>),
    /// Of a sorted set.
    Scored(Table<ScoredMember>),
    /// Of a list.
    List(Quicklist),
    /// Of a stream.
    Stream(Box<Stream>),
}

impl Collection {
    /// Begins a snapshot; one at a time.
    pub fn begin_save(&mut self) -> Saving {
        let heir = match self {
            Collection::List(list) => AnyHeir::List(list.begin_save()),
            Collection::Hash(fields) => AnyHeir::Fields(fields.table.begin_kept_save()),
            Collection::Set(members) => AnyHeir::Members(members.begin_kept_save()),
            Collection::Zset(members) => AnyHeir::Scored(members.table_mut().begin_kept_save()),
            Collection::Stream(stream) => AnyHeir::Stream(stream.begin_save()),
        };
        Saving { heir, cursor: 0 }
    }

    /// Which snapshot of it is going on ([`Saving::id`]), if one is.
    pub fn saving_id(&self) -> Option<usize> {
        match self {
            Collection::List(list) => list.saving_id(),
            Collection::Hash(fields) => fields.table.saving_id(),
            Collection::Set(members) => members.saving_id(),
            Collection::Zset(members) => members.table().saving_id(),
            Collection::Stream(stream) => stream.saving_id(),
        }
    }

    /// How many elements a snapshot hands out; nodes, of a list and of a stream.
    pub fn save_len(&self) -> usize {
        match self {
            Collection::List(list) => list.nodes(),
            Collection::Stream(stream) => stream.entries().nodes(),
            other => other.len(),
        }
    }
}

impl Saving {
    /// Whether it is this collection that is being saved.
    pub fn is_of(&self, collection: &Collection) -> bool {
        match (&self.heir, collection) {
            (AnyHeir::List(heir), Collection::List(list)) => list.is_saved_for(heir),
            (AnyHeir::Fields(heir), Collection::Hash(fields)) => fields.table.is_saved_for(heir),
            (AnyHeir::Members(heir), Collection::Set(members)) => members.is_saved_for(heir),
            (AnyHeir::Stream(heir), Collection::Stream(stream)) => stream.is_saved_for(heir),
            (AnyHeir::Scored(heir), Collection::Zset(members)) => {
                members.table().is_saved_for(heir)
            }
            _ => false,
        }
    }

    /// A number that no other one has meanwhile.
    pub fn id(&self) -> usize {
        match &self.heir {
            AnyHeir::List(heir) => Arc::as_ptr(heir).addr(),
            AnyHeir::Fields(heir) | AnyHeir::Members(heir) => Arc::as_ptr(heir).addr(),
            AnyHeir::Scored(heir) => Arc::as_ptr(heir).addr(),
            AnyHeir::Stream(heir) => Arc::as_ptr(heir).addr(),
        }
    }

    /// Hands out some `budget` unsaved elements (nodes, of a list); false at the end, when the
    /// snapshot of the collection has ended. It is the one that is being saved.
    pub fn slice(
        &mut self,
        collection: &mut Collection,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        match collection {
            Collection::List(list) => self.list(list, budget, f),
            Collection::Hash(fields) => self.fields(&mut fields.table, budget, f),
            Collection::Set(members) => self.members(members, budget, f),
            Collection::Zset(members) => self.scored(members.table_mut(), budget, f),
            Collection::Stream(stream) => stream.save_slice(budget, f),
        }
    }

    /// As [`Saving::slice`], of what was left when the collection was dropped.
    pub fn slice_rest(
        &mut self,
        rest: &mut Rest,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        match rest {
            Rest::List(list) => self.list(list, budget, f),
            Rest::Fields(fields) => self.fields(fields, budget, f),
            Rest::Members(members) => self.members(members, budget, f),
            Rest::Scored(members) => self.scored(members, budget, f),
            Rest::Stream(stream) => stream.save_slice(budget, f),
        }
    }

    /// What is left of the collection, if it was dropped.
    pub fn take_rest(&mut self) -> Option<Rest> {
        match &self.heir {
            AnyHeir::List(heir) => heir.lock().take().map(Rest::List),
            AnyHeir::Fields(heir) => heir.lock().take().map(Rest::Fields),
            AnyHeir::Members(heir) => heir.lock().take().map(Rest::Members),
            AnyHeir::Scored(heir) => heir.lock().take().map(Rest::Scored),
            AnyHeir::Stream(heir) => heir.lock().take().map(Rest::Stream),
        }
    }

    fn list(
        &mut self,
        list: &mut Quicklist,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        let more = list.save_slice(budget, f);
        if !more {
            list.end_save();
        }
        more
    }

    fn fields(
        &mut self,
        table: &mut Table<Entry>,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        let mut give = |field: EntryRef<'_>| {
            f(Element::Field(
                field.key(),
                field.value(),
                field.expire_at_ms(),
            ));
        };
        let next = table.save_slice(self.cursor, budget, &mut give);
        self.go_on(next, table)
    }

    fn members(
        &mut self,
        table: &mut Table<Entry>,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        let mut give = |member: EntryRef<'_>| f(Element::Member(member.key()));
        let next = table.save_slice(self.cursor, budget, &mut give);
        self.go_on(next, table)
    }

    fn scored(
        &mut self,
        table: &mut Table<ScoredMember>,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> bool {
        let mut give = |member: MemberRef<'_>| f(Element::Scored(member.member(), member.score()));
        let next = table.save_slice(self.cursor, budget, &mut give);
        self.go_on(next, table)
    }

    fn go_on<T: crate::ds::table::Item>(
        &mut self,
        next: Option<u64>,
        table: &mut Table<T>,
    ) -> bool {
        match next {
            Some(cursor) => self.cursor = cursor,
            None => table.end_save(),
        }
        next.is_some()
    }
}

/// Hands out all elements of a collection that nobody changes meanwhile.
pub fn for_each_element(collection: &Collection, f: &mut dyn FnMut(Element<'_>)) {
    match collection {
        Collection::List(list) => list.for_each_node(f),
        Collection::Stream(stream) => stream.for_each_element(f),
        Collection::Hash(fields) => fields.table.for_each(|field| {
            let value: ValueRef<'_> = field.value();
            f(Element::Field(field.key(), value, field.expire_at_ms()));
        }),
        Collection::Set(members) => members.for_each(|member| f(Element::Member(member.key()))),
        Collection::Zset(members) => {
            // From the last on, as Redis does: whoever reads them puts each before all others.
            let len = members.len();
            for member in members.range_back(len.saturating_sub(1), len) {
                f(Element::Scored(member.member(), member.score()));
            }
        }
    }
}
