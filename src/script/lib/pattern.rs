//! Patterns of strings: `string.find`, `match`, `gmatch`, `gsub`.
