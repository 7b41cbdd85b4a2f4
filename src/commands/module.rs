//! MODULE: there are none, and none can be loaded. What asks for those that are there learns so, and whatever would
//! load one gets the error that Valkey has for a file that is no module.

use crate::spec::{CmdError, Flags, Group};

use super::{CmdResult, Command, Ctx, Next, command, container, help};

/// What only those may do whom `enable-module-command` names.
const CHANGES: Flags = Flags::ADMIN
    .and(Flags::NO_ASYNC_LOADING)
    .and(Flags::NOSCRIPT)
    .and(Flags::MODULES);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command("module", -2, Flags::NONE, container)
    .docs(
        Group::Server,
        "4.0.0",
        "Depends on the subcommand",
        "Groups the commands about modules.",
    )
    .subcommands(&[
        command("help", 2, Flags::LOADING.and(Flags::STALE), module_help).docs(
            Group::Server,
            "5.0.0",
            "O(1)",
            "Lists the subcommands of MODULE.",
        ),
        command("list", 2, Flags::ADMIN.and(Flags::NOSCRIPT), list)
            .tips(&["nondeterministic_output_order"])
            .docs(
                Group::Server,
                "4.0.0",
                "O(1)",
                "Lists the modules that are loaded: there are none.",
            ),
        command("load", -3, CHANGES, load)
            .docs(
                Group::Server,
                "4.0.0",
                "O(1)",
                "Would load a module; Kivi has none.",
            )
            .syntax("path arg?*"),
        command("loadex", -3, CHANGES, load)
            .docs(
                Group::Server,
                "7.0.0",
                "O(1)",
                "Would load a module with its settings; Kivi has none.",
            )
            .syntax("path CONFIG=configs{name value}?*+ ARGS=args?*"),
        command("unload", 3, CHANGES, unload)
            .docs(
                Group::Server,
                "4.0.0",
                "O(1)",
                "Would unload a module; Kivi has none.",
            )
            .syntax("name"),
    ])];

fn module_help(ctx: &mut Ctx<'_>) -> CmdResult {
    let lines = [
        "LIST",
        "    Return a list of loaded modules.",
        "LOAD <path> [<arg> ...]",
        "    Load a module library from <path>, passing to it any optional arguments.",
        "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
        "    Load a module library from <path>, while passing it module configurations and optional arguments.",
        "UNLOAD <name>",
        "    Unload a module.",
    ];
    help(ctx, "MODULE", &lines)
}

fn list(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.array(0);
    Ok(Next::Done)
}

fn load(_: &mut Ctx<'_>) -> CmdResult {
    tracing::warn!("MODULE LOAD: Kivi has no modules, none can be loaded");
    Err(CmdError::text(
        "ERR Error loading the extension. Please check the server logs.",
    ))
}

fn unload(_: &mut Ctx<'_>) -> CmdResult {
    Err(CmdError::text(
        "ERR Error unloading module: no such module with that name",
    ))
}

#[cfg(test)]
mod tests {
    use crate::commands::tests::Test;

    const DENIED: &str = "-ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", \
        you can run it from a local connection, otherwise you need to set this option in the configuration file, \
        and then restart the server.";

    #[test]
    fn there_are_none() {
        let mut test = Test::new();
        test.run("MODULE LIST").is("*0");
        test.run("MODULE LIST x")
            .is("-ERR wrong number of arguments for 'module|list' command");
        test.run("MODULE nonsense")
            .is("-ERR unknown subcommand 'nonsense'. Try MODULE HELP.");
        test.run("MODULE LOAD")
            .is("-ERR wrong number of arguments for 'module|load' command");
    }

    #[test]
    fn none_can_be_loaded_by_whomever() {
        let changes = [
            "LOAD /tmp/x.so",
            "LOADEX /tmp/x.so CONFIG a b ARGS c",
            "UNLOAD x",
        ];
        let mut test = Test::new();
        for change in changes {
            test.run(&format!("MODULE {change}")).is(DENIED);
        }
        for allowed in ["yes", "local"] {
            let mut test = Test::with(&["--enable-module-command", allowed]);
            for change in &changes[..2] {
                test.run(&format!("MODULE {change}"))
                    .is("-ERR Error loading the extension. Please check the server logs.");
            }
            test.run("MODULE UNLOAD x")
                .is("-ERR Error unloading module: no such module with that name");
            // One does not allow the other.
            assert!(
                test.run("DEBUG SLEEP 0")
                    .text()
                    .starts_with("-ERR DEBUG command not")
            );
        }
    }
}
