// Package storm attacks the HTTP API with very many clients that behave badly at once: parked polls whose clients vanish, clients that send or read as
// slowly as they can, floods of reset streams, and a proxy in between that gives up and dies.
//
// The servers run in the process of the technique, on loopback sockets as far as the limit of open files reaches and on pipes beyond it, on a memory
// store whose clock is moved by hand, so that leases lapse when the technique says so and at no other time. What the store keeps through crashes is
// the matter of other techniques.
package storm
