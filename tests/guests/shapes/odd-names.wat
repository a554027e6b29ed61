;; Traps in a function whose name is a terminal's control sequences.
(module
  (memory (export "memory") 1)
  (func $evil (@name "\1b]0;owned\07\1b[2J\c2\9b31m") unreachable)
  (func (export "_start") (call $evil)))
