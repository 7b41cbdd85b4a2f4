//! Commands repeated from a log: nothing expires, nothing is logged again.
