;; A table that is too large from the beginning.
(module
  (memory (export "memory") 1)
  (table 100000000 funcref)
  (func (export "_start")))
