package main

// A tableMaker makes a table whose size fits a run.
type tableMaker struct {
	name  string // on the command line
	about string
	make  func(*run) (*table, error)
	apart bool // takes minutes, or gigabytes: measured only when it is named
}

// tables are all there are, in the order in which they are printed.
var tables = []tableMaker{
	{name: "durable", about: "cycles where what returned is fsynced, beside fdatasync, bbolt and other queues", make: durable},
	{name: "postgres", about: "cycles on PostgreSQL with one node and with two, beside a bare loop and River", make: onPostgres},
	{name: "consumer", about: "a lone consumer that acks and takes the next job, durable", make: consumers},
	{name: "batches", about: "a hundred jobs at once, durable", make: batches},
	{name: "memory", about: "cycles in memory, beside a Go channel and other queues", make: inMemory},
	{name: "http", about: "polls and acks over HTTP, beside a bare handler", make: overHTTPTable},
	{name: "waiting", about: "memory and wake-up of those who wait, beside goroutines on channels and bare handlers", make: waiting},
	{name: "handover", about: "a job that a consumer waits for already, on disk", make: handover},
	{name: "idle", about: "what a process does in which nothing happens", make: idle},
	{name: "scale", about: "the cost of a cycle with a million jobs ready", make: scale},
	{name: "large", about: "what payloads of 1 MiB and of 64 MiB cost a durable store", make: large},
	{name: "huge", about: "the same with ten million, in a file of several gigabytes", make: hugeScale, apart: true},
}
