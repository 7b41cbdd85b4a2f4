//! SCRIPT, and what EVAL makes of its arguments.
