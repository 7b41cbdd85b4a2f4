//! COMMAND DOCS: each command's documentation as a map.

use crate::commands::{CmdResult, Ctx, Next, Registered};
use crate::resp::write::ReplyWriter;
use crate::spec::syntax::{self, Argument, Kind};

use super::{named, visible};

/// COMMAND DOCS: of all commands, or of those named; names of none are left out.
pub(super) fn command_docs(ctx: &mut Ctx<'_>) -> CmdResult {
    let all = ctx.out.deferred_map();
    let mut documented = 0;
    let mut document = |out: &mut ReplyWriter, command: &Registered| {
        docs(out, command);
        documented += 1;
    };
    if ctx.args.is_empty() {
        for command in visible(ctx.table) {
            document(ctx.out, command);
        }
    }
    while let Some(name) = ctx.args.option() {
        if let Some(command) = named(ctx.table, name) {
            document(ctx.out, command);
        }
    }
    ctx.out.set_deferred(all, documented);
    Ok(Next::Done)
}

/// A map whose length is known at its end.
struct Fields<'o> {
    out: &'o mut ReplyWriter,
    count: usize,
}

impl Fields<'_> {
    /// The value of the field `name` is written next.
    fn field(&mut self, name: &str) -> &mut ReplyWriter {
        self.count += 1;
        self.out.bulk(name.as_bytes());
        self.out
    }

    /// A text field, left out when it is empty.
    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(name).bulk(value.as_bytes());
        }
    }
}

/// Writes a map whose fields `fill` writes.
fn map(out: &mut ReplyWriter, fill: impl FnOnce(&mut Fields<'_>)) {
    let whole = out.deferred_map();
    let mut fields = Fields { out, count: 0 };
    fill(&mut fields);
    let count = fields.count;
    out.set_deferred(whole, count);
}

/// A command's name and documentation.
fn docs(out: &mut ReplyWriter, command: &Registered) {
    let docs = &command.row.docs;
    out.bulk(command.full_name.as_bytes());
    map(out, |fields| {
        fields.text("summary", docs.summary);
        fields.text("since", docs.since);
        fields.text("group", docs.group.name());
        fields.text("complexity", docs.complexity);
        if docs.system {
            let out = fields.field("doc_flags");
            out.set(1);
            out.simple("syscmd");
        }
        // A test reads all rows, so there is none that does not follow the notation.
        let syntax = syntax::parse(docs.syntax).unwrap_or_default();
        if !syntax.is_empty() {
            arguments(fields.field("arguments"), &syntax);
        }
        if !command.subcommands.is_empty() {
            let out = fields.field("subcommands");
            out.map(command.subcommands.len());
            for subcommand in &command.subcommands {
                self::docs(out, subcommand);
            }
        }
    });
}

fn arguments(out: &mut ReplyWriter, all: &[Argument]) {
    out.array(all.len());
    for argument in all {
        map(out, |fields| describe(fields, argument));
    }
}

fn describe(fields: &mut Fields<'_>, argument: &Argument) {
    fields.text("name", &argument.name);
    fields.text("type", argument.kind.name());
    fields.text(
        "display_text",
        argument.display.as_deref().unwrap_or_default(),
    );
    let key_spec = match argument.kind {
        Kind::Key(index) => index,
        _ => argument.key_spec,
    };
    if let Some(index) = key_spec {
        fields.field("key_spec_index").integer(index.into());
    }
    fields.text("token", argument.token.unwrap_or_default());
    fields.text("summary", argument.summary.unwrap_or_default());
    fields.text("since", argument.since.unwrap_or_default());
    fields.text(
        "deprecated_since",
        argument.deprecated_since.unwrap_or_default(),
    );
    let flags = [
        ("optional", argument.optional),
        ("multiple", argument.multiple),
        ("multiple_token", argument.multiple_token),
    ];
    let set = flags.iter().filter(|(_, set)| *set);
    if set.clone().count() > 0 {
        let out = fields.field("flags");
        out.set(set.clone().count());
        for (name, _) in set {
            out.simple(name);
        }
    }
    if !argument.arguments.is_empty() {
        arguments(fields.field("arguments"), &argument.arguments);
    }
}
