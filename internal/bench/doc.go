// Command bench measures Pollack beside what else one might use, and beside the limits of the machine, in the same run. It is a module of its
// own, so that what it needs burdens no importer.
//
//	go run . cycles    full cycles a second (enqueue, receive, ack) beside a Go channel and fdatasync
//	go run . parked    1,000 polls parked over loopback: CPU and store calls while idle, then how many each enqueue wakes
//	go run . large     a payload of 64 MiB in and out over HTTP: memory and bytes written
//
// Figures of one run are for ratios; machines and moments differ.
package main
