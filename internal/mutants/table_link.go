package main

var link = []Mutant{}
