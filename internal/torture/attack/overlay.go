package attack

// Overlay is a file for go build -overlay that puts the planted fault into what a technique compiles itself; "" if there is none. The linker
// sets it.
var Overlay string
