package main

var replica = []Mutant{}
