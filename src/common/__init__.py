"""Code shared by all programs: configuration, arguments, console, signals. It imports no other
package."""
