// Package httptests tests package httpapi and those below it together with modules that users of the queue need not have: chi, a validator of
// OpenAPI documents, the reference library of Standard Webhooks, and another list of addresses that are not public.
package httptests
