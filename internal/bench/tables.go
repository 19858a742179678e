package main

// A tableMaker makes a table whose size fits a run.
type tableMaker struct {
	name  string // on the command line
	about string
	make  func(*run) (*table, error)
}

// tables are all there are, in the order in which they are printed.
var tables = []tableMaker{
	{"durable", "cycles where what returned is fsynced, beside fdatasync, bbolt and other queues", durable},
	{"memory", "cycles in memory, beside a Go channel and other queues", inMemory},
	{"http", "polls and acks over HTTP, beside a bare handler", overHTTPTable},
	{"waiting", "memory and wake-up of those who wait, beside goroutines on channels and bare handlers", waiting},
	{"handover", "a job that a consumer waits for already, on disk", handover},
	{"idle", "what a process does in which nothing happens", idle},
}
