// Command bench measures Pollack beside what else one might use, and beside the limits of the machine, in the same run, and prints tables as
// Markdown. It is a module of its own, so that what it needs burdens no importer.
//
//	go run .                   all tables, each figure a median of five repetitions
//	go run . durable memory    some tables
//	go run . -smoke            all, briefly: whether everything works
//	go run . -h                the tables there are, and the flags
//
// Figures of one run are for ratios; machines and moments differ. table.go says how a table is made, cycle.go how a rate is measured.
package main
