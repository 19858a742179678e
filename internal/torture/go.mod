module github.com/pollackq/pollack/internal/torture

go 1.26.0

require github.com/pollackq/pollack v0.0.0

replace github.com/pollackq/pollack => ../..
