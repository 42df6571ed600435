package main

var storage = []Mutant{}
