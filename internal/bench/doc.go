// Command bench measures Pollack beside what else one might use, and beside the limits of the machine, in the same run, and prints tables as
// Markdown. It is a module of its own, so that what it needs burdens no importer.
//
//	go run .                   all tables, each figure a median of five repetitions
//	go run . durable memory    some tables
//	go run . -smoke            all, briefly: whether everything works
//	go run . -h                the tables there are, and the flags
//
// Peers that are servers are started on loopback where they are installed (Debian: beanstalkd, redis-server, postgresql). Those on SQLite need cgo. What
// is missing is said below the tables.
//
// Figures of one run are for ratios; machines and moments differ. To compare two commits of ours there is
//
//	go test -run '^$' -bench Cycle -count 10
//
// whose output benchstat reads. table.go says how a table is made, cycle.go how a rate is measured.
package main
