module github.com/pollackq/pollack/internal/torture

go 1.26.0

require github.com/pollackq/pollack v0.0.0

require (
	github.com/oklog/ulid/v2 v2.1.2 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
)

replace github.com/pollackq/pollack => ../..
