//! Consumer groups in both protocols.

use crate::commands::tests::Test;

#[test]
fn a_group_is_created_moved_and_destroyed() {
    let mut t = Test::new();
    t.run("XGROUP CREATE s g $ MKSTREAM").is("+OK");
    t.run("XGROUP CREATECONSUMER s g c").is(":1");
    t.run("XGROUP CREATECONSUMER s g c").is(":0");
    t.run("XGROUP SETID s g 3-1 ENTRIESREAD 7").is("+OK");
    t.run("XINFO GROUPS s").is(
        "*1 *12 $4 name $1 g $9 consumers :1 $7 pending :0 $17 last-delivered-id $3 3-1 \
         $12 entries-read :7 $3 lag :0",
    );
    t.run("XGROUP DELCONSUMER s g c").is(":0");
    t.run("XGROUP DESTROY s g").is(":1");
    t.run("XGROUP DESTROY s g").is(":0");
    t.run("TYPE s").is("+stream");
}
