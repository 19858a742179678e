# What CI runs, all of it or a step: the steps themselves are in .ci/run.
.PHONY: all test fmt vet lint race histories torture postgres nested examples bench

all:
	.ci/run

test fmt vet lint race histories torture postgres nested examples:
	.ci/run $@

# Every benchmark once over, for comparing with benchstat.
bench:
	go test -run '^$$' -bench . -count 6 ./...
