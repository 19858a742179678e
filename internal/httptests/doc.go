// Package httptests tests package httpapi together with modules that users of the queue need not have: chi, and a validator of OpenAPI documents.
package httptests
