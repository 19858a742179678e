module github.com/pollackq/pollack/internal/bench

go 1.26

require github.com/pollackq/pollack v0.0.0

replace github.com/pollackq/pollack => ../..
