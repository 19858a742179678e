# What CI runs, all of it or a step: the steps themselves are in .ci/run.
.PHONY: all test fmt vet lint race postgres nested examples bench torture fuzz soak

all:
	.ci/run

test fmt vet lint race postgres nested examples:
	.ci/run $@

# Every benchmark once over, for comparing with benchstat.
bench:
	go test -run '^$$' -bench . -count 6 ./...

# What a release gets of the torture, as far as an hour allows.
torture:
	cd internal/torture && go run .

# Ten minutes of fuzzing for each target.
fuzz:
	cd internal/torture && go run . -for 8h fuzz

# Twenty minutes of load on PostgreSQL and an hour of it on a file, at the end of which nothing may have grown.
soak:
	cd storage/pgstore && go run ./internal/soak -for 20m
	cd internal/torture && go run . -for 1h soak
