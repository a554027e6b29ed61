;; Calls the host without a memory that it could use.
(module
  (import "waft_v1" "exec" (func $exec (param i32 i32) (result i32)))
  (import "waft_v1" "take" (func $take (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (func (export "_start")
    (if (i32.ne (call $exec (i32.const 0) (i32.const 0)) (i32.const -1)) (then unreachable))
    (if (i32.ne (call $take (i32.const 0) (i32.const 0)) (i32.const -1)) (then unreachable))
    (call $exit (i32.const 0))))
