package main

import (
	"fmt"
	"os"
	"strconv"
)

var commands = map[string]func() error{
	"cycles": cycles,
	"parked": parked,
	"large":  large,
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "poll" { // the clients of "parked"
		n, err := strconv.Atoi(os.Args[3])
		if err == nil {
			err = poll(os.Args[2], n)
		}
		exit(err)
	}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench cycles | parked | large")
		os.Exit(2)
	}
	exit(commands[os.Args[1]]())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
